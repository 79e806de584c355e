"""States moved to another place or another body: is the code that they carry used?"""
