package demo

// Service is one of the demo's services.
type Service struct {
	Name string
	// Port that it listens on; 0 lets the system choose.
	Port uint16
	// Reply is the JSON body of every reply under /api/v1/.
	Reply string
}

// Services returns the seven services of the shop, in the order of their ports.
func Services() []Service {
	return []Service{
		{"recommendation-service", 8001, `{"items": [{"sku": "tea-042", "score": 0.93}, {"sku": "mug-007", "score": 0.88}, {"sku": "kettle-3", "score": 0.71}]}`},
		{"search-service", 8002, `{"query": "tea", "total": 2, "hits": [{"sku": "tea-042", "title": "Green tea, 100 g"}, {"sku": "tea-051", "title": "Earl Grey, 50 bags"}]}`},
		{"pricing-service", 8003, `{"sku": "tea-042", "currency": "EUR", "price": 7.9, "list_price": 8.9, "discount": 0.11}`},
		{"chatbot-service", 8004, `{"reply": "Your parcel left our warehouse this morning.", "confidence": 0.87}`},
		{"fraud-service", 8005, `{"risk_score": 0.04, "decision": "accept", "signals": []}`},
		{"forecasting-service", 8006, `{"sku": "tea-042", "unit": "pieces", "forecast": [{"week": 1, "demand": 120}, {"week": 2, "demand": 134}, {"week": 3, "demand": 128}]}`},
		{"vision-service", 8007, `{"labels": [{"name": "mug", "confidence": 0.97}, {"name": "table", "confidence": 0.64}]}`},
	}
}
