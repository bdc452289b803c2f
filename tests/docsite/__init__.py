"""The site of docs/: stages the pages, adds the generated reference, and builds HTML with Zensical (`make docs`)."""
