"""The only place that imports a framework, on use: one file a framework, named here."""
