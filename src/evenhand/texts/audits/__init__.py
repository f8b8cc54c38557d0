"""Audits of texts, one file each: the file's name is the audit's, and the class in it says what the audit measures."""
