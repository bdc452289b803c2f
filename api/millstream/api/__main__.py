"""`python -m millstream.api`: one API process."""

from millstream.api.main import main

main()
