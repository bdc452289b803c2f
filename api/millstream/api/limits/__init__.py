"""What one caller may use of a process: rates of requests and runs, open streams, bytes of bodies."""
