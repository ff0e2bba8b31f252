"""One function per operation: the plain torch definition, and the choice of kernel."""
