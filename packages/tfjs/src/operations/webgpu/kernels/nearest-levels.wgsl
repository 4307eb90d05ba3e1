// Latent weights as the nearest of the levels of their group.
#import common
#import nearest-choice
#import level-values
