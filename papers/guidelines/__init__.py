"""ShuffleNet V2's four guidelines (section 2 of the paper), measured on this machine with TFLite graphs."""
