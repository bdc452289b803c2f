"""`python -m millstream.worker`: one worker process."""

from millstream.worker.main import main

main()
