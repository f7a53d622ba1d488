"""Teachers' answers kept in tables: how they are written, checked and looked up."""
