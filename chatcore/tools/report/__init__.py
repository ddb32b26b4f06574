"""Reports: Markdown with charts and tables (`contents`) as a PDF (`typeset`) or a page of its own (`html`)."""
