SELECT table_name FROM information_schema.tables WHERE table_schema = 'lake' ORDER BY table_name
