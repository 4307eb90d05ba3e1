// The levels that signs and a relaxed bitmap choose.
#import common
#import relaxed-choice
#import level-values
