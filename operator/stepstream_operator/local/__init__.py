"""`stepstream run`: a job on one machine. Plans with the operator's own pure functions, applies with processes."""
