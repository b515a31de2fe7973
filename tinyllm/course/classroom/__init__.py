"""The instructor's side: a course file, releases, grading of many submissions, reports and exports."""
