"""The long-term store that graphs and the API's `/store` share."""
