"""What shines: point-spread functions, templates, spectra, source-count distributions."""
