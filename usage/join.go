package usage

const maxAttempts = 256
