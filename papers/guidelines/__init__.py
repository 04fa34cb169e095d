"""ShuffleNet V2's four guidelines (section 2 of the paper), measured again on this machine as TFLite graphs."""
