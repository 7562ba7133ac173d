"""What ``lightning check`` looks at before a long run: files, kinds, shapes, licences, memory, time and disk."""
