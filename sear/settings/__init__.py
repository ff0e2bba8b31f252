"""YAML files and the command line -> checked settings -> RecBole's Config."""
