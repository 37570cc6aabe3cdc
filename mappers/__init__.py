"""Take addresses of one layer to addresses of the next: guest disk, image file, device, whole disk."""
