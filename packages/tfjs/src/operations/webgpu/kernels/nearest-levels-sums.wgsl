// The gradient of levels that latent weights are nearest to.
#import common
#import nearest-choice
#import level-sums
