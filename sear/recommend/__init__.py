"""A trained SEAR in use, without RecBole: recommendations, similar items, new users, new items, streaming state."""
