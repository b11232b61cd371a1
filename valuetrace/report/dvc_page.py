"""Write .dvc/plots.html, the page of ``dvc plots show``, with Vega inside so that it needs no network.

Run after an update of Vega: python -m valuetrace.report.dvc_page (needs vl-convert-python)
"""

from importlib.metadata import version

from valuetrace.core.files import write_text

PAGE = """<!doctype html>
<!-- Vega, Vega-Lite and Vega-Embed (BSD-3-Clause) as bundled by vl-convert-python VERSION. -->
<html lang="en">
<head>
<meta charset="utf-8">
<title>valuetrace: dvc plots</title>
<style>body { font: 15px/1.5 system-ui, sans-serif; margin: 1.5rem; } img { max-width: 100%; }</style>
<script>(() => {BUNDLE})();</script>
</head>
<body>
{plot_divs}
</body>
</html>
"""


def main() -> None:
    """Write .dvc/plots.html."""
    import vl_convert

    bundle = vl_convert.javascript_bundle().replace("</script", r"<\/script")  # type: ignore[call-arg]
    page = PAGE.replace("VERSION", version("vl-convert-python")).replace("BUNDLE", bundle)
    write_text(page, ".dvc/plots.html")


if __name__ == "__main__":
    main()
