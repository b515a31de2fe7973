"""Help instructors: read course files, release exercises, grade many submissions, report and export."""
