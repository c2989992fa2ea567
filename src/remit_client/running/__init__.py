"""`remit run`: a command with credentials that exist for one task, and what keeps that true however it ends. Linux."""
