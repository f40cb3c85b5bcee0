echo "working every $INTERVAL seconds"
while sleep "$INTERVAL"; do
  date
done
