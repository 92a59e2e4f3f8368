"""What an Ethereum node tells: whale transfers, DEX swaps, mints and burns of stablecoins."""
