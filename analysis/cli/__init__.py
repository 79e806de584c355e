"""The commands of `nca`: a record of what can be asked, and the function that does it."""
