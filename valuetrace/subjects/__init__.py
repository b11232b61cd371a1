"""What is audited or forecast: a model by name, folder or adapter, how it is loaded, what it costs, its scores."""
