"""Reports: claims with their evidence, figures and tables on one page that opens anywhere."""
