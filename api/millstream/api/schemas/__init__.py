"""The public JSON: requests and answers. Source of openapi.json."""
