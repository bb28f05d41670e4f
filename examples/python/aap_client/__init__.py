"""What an application, an enforcement point and an auditor need to use `aap` from Python."""
