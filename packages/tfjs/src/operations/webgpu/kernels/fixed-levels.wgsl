// The levels that fixed codes choose.
#import common
#import fixed-choice
#import level-values
