"""What every page runs on: who is looking, what they wait for, and what the page is about to show."""
