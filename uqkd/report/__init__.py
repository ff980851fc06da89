"""What people read: figures and the page of results."""
