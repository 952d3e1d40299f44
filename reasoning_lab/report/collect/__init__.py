"""From artifacts to what pages show: every number of a report comes from the artifact that it describes."""
