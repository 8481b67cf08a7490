"""What `surefoot bench guard` is made of: runs, sick and healthy, and how they are judged."""
