"""What is supervised: sessions, their processes and their project folders."""
