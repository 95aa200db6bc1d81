"""Results that take too long for a chapter, each made by one command and kept in one file."""
