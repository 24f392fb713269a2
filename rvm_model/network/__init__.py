"""The matting network: encoder, LR-ASPP, recurrent decoder, refiner, and the network that they make."""
