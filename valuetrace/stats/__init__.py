"""Statistics as pure functions over arrays: ranks and medians, bootstrap, tests, blocks of seeds."""
