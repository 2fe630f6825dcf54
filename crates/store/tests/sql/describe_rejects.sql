DESCRIBE rejects
