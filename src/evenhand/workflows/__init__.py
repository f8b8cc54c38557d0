"""What each verb does, from data to report: one file a verb, with no printing and no exit codes. The command line and Python call these."""
