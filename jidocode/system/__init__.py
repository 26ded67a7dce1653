"""What an app uses: the system, the handles that it gives out, and what they tell."""
