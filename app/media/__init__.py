"""What we keep: object storage, and foreign images and videos decoded at arm's length."""
