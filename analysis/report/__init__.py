"""How results are told: sections of sentences, figures and tables, on one page that opens anywhere."""
