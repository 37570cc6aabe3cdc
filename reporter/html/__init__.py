"""The report as one page for a browser: figures gathered in the same pass, then put into a document."""
