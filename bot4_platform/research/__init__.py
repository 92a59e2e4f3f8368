"""What a signal is worth: claims about signals, judged out of sample on captures."""
