"""What is read off a text: tags, words, probabilities of classifiers, vectors; kept on disk by text."""
