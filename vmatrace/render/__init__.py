"""Results to text: the table, the steps, JSON, maps and smaps. Every sentence is written here."""
