"""What an edge does beside answering: follow the centre, ask how fresh it is, report, and let tasks go home."""
